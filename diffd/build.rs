//! The messages and the service, from the `.proto` files beside, without `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["proto/diff.proto", "proto/types.proto"];
    let set = protox::compile(files, ["proto"])?;
    // The client half is for `check` and the tests.
    tonic_prost_build::configure().build_client(true).compile_fds(set)?;
    for file in files {
        println!("cargo:rerun-if-changed={file}");
    }
    Ok(())
}
