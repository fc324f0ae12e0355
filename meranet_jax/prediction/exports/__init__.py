"""Files of predictions in the formats of the tools that the field uses."""
