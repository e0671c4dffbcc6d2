//! A registry in a machine, without TLS, at the loopback.

use crate::machine::{Machine, Running, put};
use crate::support::process::wait_until;

/// What is in it.
pub const IMAGE: &str = "127.0.0.1:5071/t:latest";

const CONFIG: &str =
    "version: 0.1\nstorage: {filesystem: {rootdirectory: /var/d/registry}}\nhttp: {addr: '127.0.0.1:5071'}\n";

/// One that has the image of this archive.
pub fn start(machine: &Machine, archive: &str) -> Running {
    let config = put(machine, "registry.yml", CONFIG.as_bytes());
    let running = machine.spawn("registry", &["docker-registry", "serve", &config]);
    fill(machine, archive, IMAGE);
    running
}

/// Puts an image into it, as soon as it answers.
pub fn fill(machine: &Machine, archive: &str, image: &str) {
    let (from, to) = (format!("oci-archive:{archive}"), format!("docker://{image}"));
    let copy = ["skopeo", "copy", "--insecure-policy", "--dest-tls-verify=false", &from, &to];
    wait_until("the registry has the image", || machine.output(&copy).status.success());
}
