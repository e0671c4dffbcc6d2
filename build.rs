//! Derives the version of the protocol between parent and helper, so that nobody has to remember to raise it.

#[path = "build/shape.rs"]
mod shape;

fn main() -> std::io::Result<()> {
    println!("cargo::rerun-if-changed=src");
    println!("cargo::rerun-if-changed=build");
    let version = shape::version("src".as_ref(), env!("CARGO_PKG_VERSION"))?;
    println!("cargo::rustc-env=UNTAR_IN_ROOT_PROTOCOL={version}");
    Ok(())
}
