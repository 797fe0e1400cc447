"""What every kernel on UTF-8 text begins with: how it is compiled, decoding, tables of characters, Arrow's buffers."""
