"""Optical strain: how much a flow deforms the skin."""

import jax
import jax.numpy as jnp


def optical_strain(flow: jax.Array) -> jax.Array:
    """Computes the magnitude of the optical strain of a flow.

    e = sqrt(u_x^2 + v_y^2 + (u_y + v_x)^2 / 2), where subscripts are derivatives: the
    Frobenius norm of the symmetric part of the flow's gradient. It is zero for a
    translation and, to first order, for a rotation.

    M. Shreve, S. Godavarthy, V. Manohar, D. Goldgof and S. Sarkar, "Towards macro- and
    micro-expression spotting in video using strain patterns", WACV 2009.

    Args:
      flow: [..., H, W, 2], (u, v) in pixels; H and W at least 2.

    Returns:
      [..., H, W], without unit. Derivatives are central differences, and at the borders
      one-sided.
    """
    u, v = flow[..., 0], flow[..., 1]
    u_y, u_x = jnp.gradient(u, axis=(-2, -1))
    v_y, v_x = jnp.gradient(v, axis=(-2, -1))
    squared = u_x**2 + v_y**2 + (u_y + v_x) ** 2 / 2
    # The square root has no derivative at zero, where its gradient is set to zero.
    moves = squared > 0
    return jnp.where(moves, jnp.sqrt(jnp.where(moves, squared, 1)), 0)
