//! The kernel's other helpers: what they announce comes in while they are on, to whoever speaks with that server, and nothing
//! else; off, nothing; missing, nothing.

#[path = "helpers/lacking.rs"]
mod lacking;
#[path = "helpers/limits.rs"]
mod limits;
#[path = "helpers/scene.rs"]
mod scene;
#[path = "helpers/slipstream.rs"]
mod slipstream;
#[path = "helpers/telephone.rs"]
mod telephone;
#[path = "helpers/transfers.rs"]
mod transfers;
