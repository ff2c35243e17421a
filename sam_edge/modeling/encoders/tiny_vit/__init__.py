"""MobileSAM's image encoder, as trained and as exported."""
