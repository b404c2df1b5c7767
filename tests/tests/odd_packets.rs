//! What no honest host sends: forged sources, odd packets, forged errors. None of it gets anywhere, and what is right does.

#[path = "odd_packets/craft.rs"]
mod craft;
#[path = "odd_packets/errors.rs"]
mod errors;
#[path = "odd_packets/families4.rs"]
mod families4;
#[path = "odd_packets/families6.rs"]
mod families6;
#[path = "odd_packets/kernel_log.rs"]
mod kernel_log;
#[path = "odd_packets/odd.rs"]
mod odd;
#[path = "odd_packets/scene.rs"]
mod scene;
#[path = "odd_packets/spoofed.rs"]
mod spoofed;
