//! Requests that nobody should send, through a containerd to the differ: the code that comes back, and nothing left.

use crate::chroots::{RELEASES, Release};
use crate::cri;
use crate::images::{archive, sample};
use crate::interface::diff::ApplyRequest;
use crate::interface::diff::diff_client::DiffClient;
use crate::interface::types::{Descriptor, Mount};
use crate::machine::{Differ, Machine, SOCKET, socket_of, words};
use crate::support::layout::digest;
use crate::support::process::wait_until;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use tokio::runtime::Runtime;
use tonic::{Code, Request, Status};

const CLIMBS: &str = "sha256:../../../../../../../../etc/passwd";

fn mount(kind: &str, source: &str, options: &[&str]) -> Mount {
    let options = options.iter().map(|option| (*option).into()).collect();
    Mount { r#type: kind.into(), source: source.into(), target: String::new(), options }
}

/// As a client of containerd's that has its socket asks.
fn apply(machine: &Machine, runtime: &Runtime, diff: Descriptor, mounts: Vec<Mount>) -> Result<(), Status> {
    runtime.block_on(async {
        let mut client = DiffClient::new(cri::channel(machine, &socket_of("c")).await);
        let mut request = Request::new(ApplyRequest { diff: Some(diff), mounts, ..Default::default() });
        request.metadata_mut().insert("containerd-namespace", "bad".parse().expect("a name"));
        client.apply(request).await.map(drop)
    })
}

/// What 1.7 makes of a code: it knows some and not others.
fn through(release: Release, code: Code) -> Code {
    if release == Release::Trixie && code == Code::DataLoss { Code::Unknown } else { code }
}

#[test]
fn a_request_that_cannot_be_meant_comes_back_through_containerd_with_its_code() {
    for release in RELEASES {
        let Some(machine) = Machine::start(release) else { return };
        let (differ, _containerd) = (machine.differ("c", &[]), machine.containerd("c", Differ::Ours));
        let archive = archive(&machine, "image.tar", &sample());
        let import = machine.ctr("c", "bad", &["images", "import", "--base-name", "localhost/t", &archive]);
        machine.run(&words(&import));
        let layer = sample().layers.swap_remove(0);
        let size = i64::try_from(layer.blob.len()).expect("small");
        let good = Descriptor { media_type: layer.media_type, digest: digest(&layer.blob), size, ..Default::default() };
        let of = |digest: &str| Descriptor { digest: digest.into(), ..good.clone() };
        std::fs::create_dir(machine.path("/var/d/root")).expect("directory");
        let root = [mount("bind", "/var/d/root", &["rw", "rbind"])];
        let (two, none) = ([&root[..], &root[..]].concat(), format!("sha256:{}", "0".repeat(64)));
        let cases = [
            ("no mounts", good.clone(), vec![], Code::InvalidArgument),
            ("two mounts", good.clone(), two, Code::Unimplemented),
            ("another type", good.clone(), vec![mount("erofs", "/x", &[])], Code::Unimplemented),
            ("a relative source", good.clone(), vec![mount("bind", "x", &[])], Code::InvalidArgument),
            ("a missing source", good.clone(), vec![mount("bind", "/no/such", &[])], Code::NotFound),
            ("no upper", good.clone(), vec![mount("overlay", "overlay", &["lowerdir=/l"])], Code::InvalidArgument),
            ("a digest that climbs", of(CLIMBS), root.to_vec(), Code::InvalidArgument),
            ("no digest", of(""), root.to_vec(), Code::InvalidArgument),
            ("a blob that is not there", of(&none), root.to_vec(), Code::NotFound),
            ("another size", Descriptor { size: 7, ..good.clone() }, root.to_vec(), Code::DataLoss),
            (
                "another media type",
                Descriptor { media_type: "x/y".into(), ..good.clone() },
                root.to_vec(),
                Code::Unimplemented,
            ),
        ];
        let runtime = Runtime::new().expect("runtime");
        let mounts = machine.mounts();
        for (what, diff, asked, code) in cases {
            let status = apply(&machine, &runtime, diff, asked).expect_err(what);
            assert_eq!(status.code(), through(release, code), "{what}: {status:?}");
            println!("BAD | {} | {what} | {:?} |", machine.version(), status.code());
        }
        assert_eq!(std::fs::read_dir(machine.path("/var/d/root")).expect("directory").count(), 0);
        assert_eq!((differ.helpers().len(), machine.mounts()), (0, mounts));
        apply(&machine, &runtime, good, root.to_vec()).expect("applied");
    }
}

/// What is no HTTP/2 at all, and what begins as it.
#[test]
fn rubbish_at_the_socket_keeps_no_image_from_being_imported() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for release in RELEASES {
        let Some(machine) = Machine::start(release) else { return };
        let (differ, _containerd) = (machine.differ("c", &[]), machine.containerd("c", Differ::Ours));
        let before = differ.descriptors();
        let frame = [PREFACE, &[0xff; 4096]].concat();
        for rubbish in
            [&[0; 4096][..], &[0xff; 4096], b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02", &frame]
        {
            let mut stream = UnixStream::connect(machine.path(SOCKET)).expect("connected");
            // It may hang up in the middle.
            let _ = stream.write_all(rubbish);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        }
        wait_until("no descriptor more", || differ.descriptors() <= before);
        let archive = archive(&machine, "image.tar", &sample());
        let import = machine.ctr("c", "n", &["images", "import", "--base-name", "localhost/t", &archive]);
        machine.run(&words(&import));
        assert_eq!(machine.applied(), 4);
    }
}
