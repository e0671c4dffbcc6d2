//! How this process comes to see nothing but the root, and to have no right that it does not need.

pub(super) mod arrival;
pub(super) mod confine;
pub(super) mod cover;
pub(super) mod landlock;
pub(super) mod lifeline;
pub(super) mod limits;
pub(super) mod mounts;
mod pivot;
pub(super) mod right;
pub(super) mod root;
mod seccomp;
mod top;
pub(super) mod userns;
