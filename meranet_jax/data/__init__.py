"""Records -> clips, class sets, protocols, splits, and feeding the devices."""
