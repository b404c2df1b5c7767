//! Role companion: VPN passthrough beside another firewall, whose rules are the same before and after; and what is said where
//! those rules keep it from working.

#[path = "companion/beside.rs"]
mod beside;
#[path = "companion/defeats.rs"]
mod defeats;
#[path = "companion/firewalls.rs"]
mod firewalls;
#[path = "companion/moves.rs"]
mod moves;
#[path = "companion/pages.rs"]
mod pages;
#[path = "companion/remedies.rs"]
mod remedies;
#[path = "companion/suite.rs"]
mod suite;
#[path = "companion/ways.rs"]
mod ways;
