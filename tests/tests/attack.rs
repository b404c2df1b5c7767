//! Attackers, from the internet and from within the home: nothing reaches a host that did not ask, and nobody else is hurt.

#[path = "attack/flood.rs"]
mod flood;
#[path = "attack/scene.rs"]
mod scene;
#[path = "attack/server.rs"]
mod server;
#[path = "attack/slipstream.rs"]
mod slipstream;
#[path = "attack/stranger.rs"]
mod stranger;
