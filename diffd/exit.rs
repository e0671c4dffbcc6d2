//! How the program ends; `untar-in-root` has the same numbers.

/// Done; of `check`, and of `configure --write`, that nothing is wanting.
pub(crate) const DONE: u8 = 0;
/// It failed, and said why. What it had changed it has put back, or has said what it could not.
pub(crate) const FAILED: u8 = 1;
/// containerd cannot use the differ as things are. Wrong usage is 2, clap's own number.
pub(crate) const WANTING: u8 = 3;

/// For the manual.
pub(crate) const TABLE: &str = "\
Exit status:
  0  done; of check and configure --write: nothing is wanting
  1  it failed, and says why; what was changed has been put back
  2  wrong usage
  3  check, and configure --write when it has written: something is marked NO, and pulls would fail or be wrong";
