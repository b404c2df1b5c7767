//! Who fills the connection table: one device of the home, with and without answers, and strangers.

#[path = "connection_table/share.rs"]
mod share;
#[path = "connection_table/strangers.rs"]
mod strangers;
#[path = "connection_table/unanswered.rs"]
mod unanswered;
