//! A program that ships the helper beside itself, as `untar-in-root` in the same directory:
//! `shipped_beside ROOT ARCHIVE`. It builds with `default-features = false`, without code that reads archives.
//!
//! The helper is of the same version as the library, so the two are installed and replaced together.
#![allow(clippy::print_stdout)]

use untar_in_root::{Program, Untar};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args_os().skip(1);
    let (Some(root), Some(archive)) = (args.next(), args.next()) else {
        return Err("usage: shipped_beside ROOT ARCHIVE".into());
    };
    // By its path, not by `$PATH`, which is the caller's.
    let helper = Program::at(std::env::current_exe()?.with_file_name("untar-in-root"));
    let report = Untar::open(root)?.program(helper).apply_fd(std::fs::File::open(archive)?)?;
    println!("{} entries", report.entries.total());
    Ok(())
}
