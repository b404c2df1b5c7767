//! The first promise: never open, never lost. A hail of packets that nobody asked for beats on the router while it is
//! switched, killed and started, and none gets in; traffic that is allowed runs meanwhile, and none is lost.

#[path = "leak/control.rs"]
mod control;
#[path = "leak/edges.rs"]
mod edges;
#[path = "leak/first.rs"]
mod first;
#[path = "leak/kills.rs"]
mod kills;
#[path = "leak/scene.rs"]
mod scene;
#[path = "leak/swaps.rs"]
mod swaps;
#[path = "leak/torrent.rs"]
mod torrent;
#[path = "leak/tunnels.rs"]
mod tunnels;
