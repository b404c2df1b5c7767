//! The simulator: many VPN clients behind the lab's router, and their servers, speak raw ESP and IKE through the real kernel,
//! and every delivery is judged right or wrong.
//!
//! One thread plays both sides, so it knows at every moment what is true. The clients are on the cable of the LAN host `phone`,
//! each with its own MAC and IPv4 address, and the servers on that of `server2`: whole Ethernet frames through packet sockets.
//! Loss and delay are played here; between the two cables is nothing but the lab's switch, router and internet.
//!
//! `plan` says what is played, `world` keeps the truth and the clock, `device`, `ike`, `esp` and `traffic` are how clients and
//! servers behave, `count` judges, `wire` and `port` are the packets.

mod count;
mod crowd;
mod device;
mod esp;
mod icmp;
mod ike;
mod plan;
mod port;
mod traffic;
mod wire;
mod world;

pub use count::{Again, Report, Wrong};
pub use crowd::Crowd;
pub use plan::{First, Keys, Pattern, Plan, Rekey, SCENARIOS, Side};
