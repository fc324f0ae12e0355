"""The benchmark `synthetic/wild`: subtle expressions among other movements.

`expressions` and `script` say what happens in a clip, without any geometry. Two
renderers that share no drawing code show it: `wild_a` and `wild_b`. `camera` records
what they show.
"""
