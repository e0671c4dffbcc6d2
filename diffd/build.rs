//! The messages and the services, from the `.proto` files beside, without `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["content", "diff", "introspection", "leases", "types"].map(|name| format!("proto/{name}.proto"));
    let set = protox::compile(&files, ["proto"])?;
    // The client's half of the differ's own service is for `check` and the tests, the server's of the others for the tests.
    tonic_prost_build::configure().build_client(true).compile_fds(set)?;
    for file in files {
        println!("cargo:rerun-if-changed={file}");
    }
    Ok(())
}
