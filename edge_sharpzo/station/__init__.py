"""The station: a page on the device where photos come in, labels get mended, and it learns."""
