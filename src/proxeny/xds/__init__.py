"""Dynamic configuration: where resources come from, how they are decoded, who hears of them."""
