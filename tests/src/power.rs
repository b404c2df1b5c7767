//! Power cuts without a disk: what a program wrote into a folder is recorded by strace ([`Recording`]), and for any moment of it the
//! folder is made anew as a disk might hold it ([`Disk`]).
//!
//! What a disk promises is what POSIX and the kernel's block layer do, and no more: bytes are there once `fsync` or `fdatasync` of
//! their file has returned, names once `fsync` of the folder has. Of everything else each sector of 512 bytes is there or not, as
//! chance has it, sizes likewise, and names up to any one of them, in their order (as every journalling file system and JFFS2 keep it).

mod disk;
mod recording;

pub use disk::{Disk, Image, write};
pub use recording::{CALLS, Recording};
