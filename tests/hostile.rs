//! The attacker: hostile archives, a hostile destination, a helper that has been taken over.

mod archives;
mod attacker;
pub mod beside;
pub mod breach;
pub mod case;
mod exchanged;
mod swapped;
pub mod table;
