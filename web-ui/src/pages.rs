//! One file for each page: its template, its form, `show`, `save`, and its tests.

pub mod account;
pub mod backup;
pub mod claim;
pub mod confirm;
pub mod history;
pub mod login;
pub mod mend;
pub mod overview;
pub mod passthrough;
pub mod rules;
