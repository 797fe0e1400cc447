"""Token shards: Arrow IPC files that a trainer memory-maps. `layout` says what is in them, `writer` and `best_fit` make
them, `manifest` and `verify` account for them, `reader`, `stream` and `torch` read them."""
