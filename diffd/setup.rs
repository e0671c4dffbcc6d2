//! Whether this machine's containerd can use the differ, and having it do so: `check` and `configure`.

mod ask;
mod attributes;
mod by_hand;
mod carry_out;
mod check;
mod configure;
mod containerd;
mod docker;
mod ends;
mod files;
mod imports;
mod marks;
mod plan;
mod rows;
mod running;
mod said;
mod tables;
mod take;
mod version;

pub(crate) use check::check;
pub(crate) use configure::configure;
