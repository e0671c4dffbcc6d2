//! Overlayfs's attributes, whoever has set them, on layers in memory: a lookup ends, and leads to nothing that they forbid.

use super::Steps;
use crate::helper::pack::overlay::{BadMark, Layers, Look, Marks, Merged, Seen, Shape, Shown, Stands, Upper, lookup};
use std::cell::Cell;

const NAMES: [&[u8]; 4] = [b"a", b"b", b"c", b"d"];
/// Names of attributes; what follows of one is the script's.
const ATTRIBUTES: [&str; 5] = ["opaque", "redirect", "metacopy", "whiteout", "overlay."];
/// Lookups of one input.
const MOST: usize = 200;

struct Node {
    above: usize,
    name: &'static [u8],
    shape: Shape,
    attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The tops of the layers come first.
struct Memory {
    marks: Marks,
    roots: Vec<usize>,
    nodes: Vec<Node>,
    looks: Cell<usize>,
}

impl Memory {
    fn of(steps: &mut Steps<'_>) -> Memory {
        let marks = if steps.byte().unwrap_or_default().is_multiple_of(4) { Marks::User } else { Marks::Trusted };
        let roots: Vec<usize> = (0..=usize::from(steps.byte().unwrap_or_default() % 3)).collect();
        let root = |above| Node { above, name: b"", shape: Shape::Directory, attributes: Vec::new() };
        let mut memory =
            Memory { marks, nodes: roots.iter().map(|at| root(*at)).collect(), roots, looks: Cell::new(0) };
        while let Some(byte) = steps.byte() {
            let node = memory.node(byte, steps);
            memory.nodes.push(node);
        }
        memory
    }

    fn node(&self, byte: u8, steps: &mut Steps<'_>) -> Node {
        let dirs: Vec<usize> = (0..self.nodes.len()).filter(|at| self.nodes[*at].shape == Shape::Directory).collect();
        let shape = match byte % 8 {
            0..=2 => Shape::Directory,
            3 => Shape::CharDevice { major: 0, minor: 0 },
            4 => Shape::Other,
            size => Shape::Regular { size: u64::from(size - 5) },
        };
        let marked = (0..steps.byte().unwrap_or_default() % 3).map(|_| {
            let number = usize::from(steps.byte().unwrap_or_default());
            let name = self.marks.name(ATTRIBUTES[number % ATTRIBUTES.len()]);
            (name, steps.text())
        });
        let attributes = marked.collect();
        Node {
            above: dirs[usize::from(byte >> 3 & 7) % dirs.len()],
            name: NAMES[usize::from(byte >> 6)],
            shape,
            attributes,
        }
    }

    fn stands(&self, at: usize) -> Result<Stands, BadMark> {
        let Node { shape, attributes, .. } = &self.nodes[at];
        let value =
            |name: &[u8]| Ok(attributes.iter().find(|(there, _)| there == name).map(|(_, value)| value.clone()));
        self.marks.stands(*shape, value)
    }
}

impl Layers for Memory {
    type Dir = usize;
    type File = usize;
    type Error = BadMark;

    fn roots(&self) -> &[usize] {
        &self.roots
    }

    fn look(&self, dir: &usize, name: &[u8]) -> Look<Memory> {
        self.looks.set(self.looks.get() + 1);
        let named = |at: &usize| self.nodes[*at].above == *dir && self.nodes[*at].name == name;
        let Some(at) = (0..self.nodes.len()).find(named) else { return Ok(None) };
        Ok(Some(match self.stands(at)? {
            Stands::Whiteout => Seen::Whiteout,
            Stands::Directory { opaque, redirect } => Seen::Directory { dir: at, opaque, redirect },
            Stands::Metacopy { redirect } => Seen::File { file: at, regular: true, metacopy: true, redirect },
            Stands::Itself { regular } => Seen::File { file: at, regular, metacopy: false, redirect: None },
        }))
    }
}

/// The first byte chooses the prefix, the second the number of layers; then nodes with attributes.
pub fn fuzz_overlay(data: &[u8]) {
    let memory = Memory::of(&mut Steps(data));
    for (name, value) in memory.nodes.iter().flat_map(|node| &node.attributes) {
        packs_no_mark(memory.marks, &[name.as_slice(), value].concat());
    }
    // Whatever redirects have is as many names at most.
    let bytes: usize = memory.nodes.iter().flat_map(|node| &node.attributes).map(|(_, value)| value.len() + 1).sum();
    let most = memory.roots.len() * (bytes + 1);
    let mut dirs = vec![Merged::top(&memory.roots)];
    let mut looked = 0;
    while let Some(dir) = dirs.pop().filter(|_| looked < MOST) {
        for name in NAMES {
            looked += 1;
            memory.looks.set(0);
            let shown = lookup(&memory, &dir, name, &Upper::Nothing);
            assert!(memory.looks.get() <= most, "{} looks, of {most}", memory.looks.get());
            match shown {
                Err(BadMark { name, .. }) => assert!(memory.marks.packed(&name).is_none(), "{name:?} is no mark"),
                Ok(Ok(Shown::Directory(found))) => {
                    found.dirs().for_each(|at| assert_eq!(memory.nodes[*at].shape, Shape::Directory));
                    dirs.push(found);
                }
                Ok(Ok(Shown::File(files))) => is_content(&memory, &files),
                Ok(Ok(Shown::Absent) | Err(_)) => {}
            }
        }
    }
}

/// The last file has the content, and those before it say that theirs is below; which nobody believes whom anybody can be.
fn is_content(memory: &Memory, files: &[usize]) {
    let (last, above) = files.split_last().expect("a file");
    let stands = |at: &usize| memory.stands(*at).expect("it was found");
    assert!(matches!(stands(last), Stands::Itself { regular } if regular || above.is_empty()));
    assert!(above.iter().all(|at| matches!(stands(at), Stands::Metacopy { .. }) && memory.marks == Marks::Trusted));
}

/// What is packed of this name is no mark of this overlay, but of one within, a level nearer.
fn packs_no_mark(marks: Marks, name: &[u8]) {
    if let Some(packed) = marks.packed(name) {
        let nearer = name.len() - packed.len();
        assert!(nearer == 0 && !name.starts_with(&marks.name("")) || nearer == "overlay.".len(), "{name:?}");
    }
}
