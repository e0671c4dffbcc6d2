//! What the tests stand on.

pub mod child;
pub mod container;
pub mod debian;
pub mod doomed;
pub mod expected;
pub mod layout;
pub mod privilege;
pub mod process;
pub mod run;
pub mod scratch;
pub mod setting;
pub mod tarball;
pub mod tree;
