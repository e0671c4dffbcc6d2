//! Tests of the test support: what `Tarball` writes, others read; `tree` finds each kind of difference.

mod debian;
mod scratch;
mod tarball;
mod tree;
