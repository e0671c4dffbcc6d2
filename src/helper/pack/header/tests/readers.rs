//! What others read of our headers.

use super::sample::{Sample, plain_header, samples};
use crate::helper::pack::header::{END, padding};
use crate::helper::pack::programs::{need, output};
use crate::helper::read::entry::Region;
use crate::report::EntryKind;
use std::process::Command;

const SEED: u64 = 7;
const ENTRIES: usize = 1500;

/// Prints what it finds, a line each.
const PYTHON: &str = "
import os, sys, tarfile
for member in tarfile.open(fileobj=sys.stdin.buffer, mode='r|', encoding='utf-8', errors='surrogateescape'):
    print(os.fsencode(member.name).hex(), os.fsencode(member.linkname).hex(), member.type.decode(), member.mode, member.uid,
          member.gid, member.size, member.mtime, member.devmajor, member.devminor, sep='|')
";

/// The content of the only file.
const PYTHON_CONTENT: &str = "
import io, sys, tarfile
archive = tarfile.open(fileobj=io.BytesIO(sys.stdin.buffer.read()))
sys.stdout.buffer.write(archive.extractfile(archive.next()).read())
";

fn archive(samples: &[Sample]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for sample in samples {
        sample.header().write(&mut bytes).expect("a header");
        bytes.resize(bytes.len() + usize::try_from(sample.size).expect("small"), b'x');
        bytes.resize(bytes.len() + padding(sample.size), 0);
    }
    bytes.extend(END);
    bytes
}

#[test]
fn law_7_gnu_tar_and_bsdtar_list_what_was_written() {
    let samples = samples(SEED, ENTRIES, plain_header());
    let names: Vec<u8> = samples.iter().flat_map(|sample| [&sample.name[..], b"\n"].concat()).collect();
    for (program, arguments) in [("tar", &["-t", "--quoting-style=literal", "-f", "-"][..]), ("bsdtar", &["-tf", "-"])]
    {
        if need(program) {
            let listed = output(Command::new(program).args(arguments), &archive(&samples));
            let first = listed.split(|b| *b == b'\n').zip(&samples).find(|(line, sample)| *line != sample.name);
            assert!(listed == names, "{program}: {first:?}");
        }
    }
}

#[test]
fn law_7_python_reads_all_that_was_written() {
    if !need("python3") {
        return;
    }
    let samples = samples(SEED + 1, ENTRIES, plain_header());
    let said = output(Command::new("python3").args(["-c", PYTHON]), &archive(&samples));
    let said = String::from_utf8(said).expect("text");
    assert_eq!(said.lines().count(), samples.len());
    for (line, sample) in said.lines().zip(&samples) {
        let mut fields: Vec<_> = line.split('|').collect();
        let mtime: f64 = fields.remove(7).parse().expect("a number");
        // It has floats.
        let want = sample.mtime.seconds as f64 + f64::from(sample.mtime.nanoseconds) / 1e9;
        assert!((mtime - want).abs() < 1e-5, "{line}: {sample:?}");
        assert_eq!(fields.join("|"), as_python(sample), "{sample:?}");
    }
}

fn as_python(sample: &Sample) -> String {
    let hex = |text: &[u8]| text.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (major, minor) = sample.device.unwrap_or_default();
    let (name, flag) = (
        sample.name.strip_suffix(b"/").unwrap_or(&sample.name),
        char::from(super::super::flag(sample.kind).expect("a type")),
    );
    let Sample { mode, uid, gid, size, .. } = sample;
    format!("{}|{}|{flag}|{mode}|{uid}|{gid}|{size}|{major}|{minor}", hex(name), hex(&sample.link))
}

fn sparse(name: &[u8], size: u64, data: &[Region]) -> (Vec<u8>, Vec<u8>) {
    let sample = Sample { kind: EntryKind::File, size, ..Sample::file(name) };
    let (mut bytes, mut content) = (Vec::new(), vec![0; usize::try_from(size).expect("small")]);
    super::super::Header { sparse: Some(data), ..sample.header() }.write(&mut bytes).expect("a header");
    for region in data {
        let place = region.offset as usize..(region.offset + region.length) as usize;
        content[place.clone()].iter_mut().zip(1u8..=255).for_each(|(to, from)| *to = from);
        bytes.extend_from_slice(&content[place]);
    }
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes.extend(END);
    (bytes, content)
}

#[test]
fn rule_11_all_read_the_content_of_sparse_files() {
    let many: Vec<_> = (0..200).map(|n| Region { offset: n * 20_480, length: 4096 + n % 7 * 512 }).collect();
    let cases: &[(&[u8], u64, &[Region])] = &[
        (b"hole", 1 << 20, &[]),
        (b"d/begin", 1 << 20, &[Region { offset: 0, length: 4096 }]),
        (b"end", 1 << 20, &[Region { offset: (1 << 20) - 4096, length: 4096 }]),
        (b"both", 70_001, &[Region { offset: 0, length: 4096 }, Region { offset: 65_536, length: 4465 }]),
        (b"all", 8192, &[Region { offset: 0, length: 8192 }]),
        ("\u{e9}/many".as_bytes(), 5 << 20, &many),
    ];
    for (name, size, data) in cases {
        let (bytes, content) = sparse(name, *size, data);
        for (program, arguments) in
            [("tar", &["-xOf", "-"][..]), ("bsdtar", &["-xOf", "-"]), ("python3", &["-c", PYTHON_CONTENT])]
        {
            if need(program) {
                let found = output(Command::new(program).args(arguments), &bytes);
                assert!(found == content, "{program}: {} of {size} bytes of {name:?}", found.len());
            }
        }
    }
}
