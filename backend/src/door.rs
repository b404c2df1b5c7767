//! The one door between the daemon and everything that talks to it: two unix sockets, told apart by file mode.
//!
//! `web.sock` is for postern-web: it may greet, log in, and with a live ticket read and change. `admin.sock` is for
//! root and group `postern`: the command line. Frames are a u32 length (big endian) and JSON.

pub mod client;
mod descriptors;
mod frame;
#[cfg(fuzzing)]
pub(crate) mod fuzz;
mod guarded;
mod listeners;
pub mod messages;
mod selftest;
pub mod server;

/// What a source counts as, here for wrong passwords and in the web process for connections: one rule on both sides of the door.
pub use crate::login::counted;
pub use frame::FrameError;

/// Socket of the web process in the door directory.
pub const WEB: &str = "web.sock";
/// Socket of root and group `postern` in the door directory.
pub const ADMIN: &str = "admin.sock";
/// The packaged door directory.
pub const DIRECTORY: &str = "/run/postern";
/// The same of the package for OpenWrt.
pub const DIRECTORY_OF_OPENWRT: &str = "/var/run/postern";
