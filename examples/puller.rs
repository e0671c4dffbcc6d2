//! A puller: keeps a layer only if its digest and its diff ID are the right ones.
//! `puller STORE sha256:DIGEST sha256:DIFF_ID < blob`, where the manifest has the digest and the configuration
//! the diff ID.
//!
//! Both are known only at the end, when the files are there already. So the layer is made where nobody looks, and
//! has its name when all is well.
#![allow(clippy::print_stdout)]

use std::os::fd::AsFd;
use std::path::Path;
use untar_in_root::{Digest, Mode, Program, Untar, helper};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    helper::init();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [store, digest, diff_id] = &args[..] else {
        return Err("usage: puller STORE sha256:DIGEST sha256:DIFF_ID < blob".into());
    };
    let (digest, diff_id): (Digest, Digest) = (digest.parse()?, diff_id.parse()?);
    let untar = Untar::atomic(Path::new(store).join(diff_id.to_string()))?
        .program(Program::this()?)
        .mode(Mode::Layer)
        .expect_digest(digest)
        .expect_diff_id(diff_id);
    // Not `apply`: while a reader blocks, the end of the helper would go unnoticed.
    let report = untar.apply_fd(std::io::stdin().as_fd().try_clone_to_owned()?)?;
    println!("{} entries from {} bytes", report.entries.total(), report.bytes_in);
    Ok(())
}
