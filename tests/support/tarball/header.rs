//! One 512-byte header block, written field by field so that any field can lie.

/// Size of a tar block.
pub const BLOCK: usize = 512;

/// Which magic the header carries.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `ustar\0` `00`: POSIX.
    Ustar,
    /// `ustar  \0`: GNU, needed for old sparse files.
    Gnu,
    /// No magic at all: the seventh edition.
    V7,
    /// ustar with `tar\0` at 508: Schily's star.
    Star,
}

/// What the checksum field says.
#[derive(Clone, Copy)]
pub enum Checksum {
    /// The sum of unsigned bytes: right.
    Unsigned,
    /// The sum of signed bytes, as some old systems wrote it: right, too.
    Signed,
    /// This much more than the right sum.
    OffBy(i32),
}

/// The fields of a header, before they are put into a block.
#[derive(Clone)]
pub struct Header {
    pub dialect: Dialect,
    pub name: Vec<u8>,
    pub prefix: Vec<u8>,
    pub mode: i128,
    pub uid: i128,
    pub gid: i128,
    pub size: i128,
    pub mtime: i128,
    pub typeflag: u8,
    pub link: Vec<u8>,
    pub device: Option<(i128, i128)>,
    pub base256: bool,
    pub patches: Vec<(usize, Vec<u8>)>,
    pub checksum: Checksum,
}

impl Header {
    /// A plain header of this name and type: mode 0644, root, an hour after the epoch.
    pub fn new(name: &[u8], typeflag: u8) -> Self {
        Header {
            dialect: Dialect::Ustar,
            name: name.to_vec(),
            prefix: Vec::new(),
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: 3600,
            typeflag,
            link: Vec::new(),
            device: None,
            base256: false,
            patches: Vec::new(),
            checksum: Checksum::Unsigned,
        }
    }

    /// The block.
    pub fn block(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        self.put_numbers(&mut block);
        put(&mut block, 0, 100, &self.name);
        block[156] = self.typeflag;
        put(&mut block, 157, 100, &self.link);
        self.put_magic(&mut block);
        for (at, bytes) in &self.patches {
            put(&mut block, *at, bytes.len(), bytes);
        }
        self.put_checksum(&mut block);
        block
    }

    fn put_numbers(&self, block: &mut [u8; BLOCK]) {
        let fields =
            [(100, 8, self.mode), (108, 8, self.uid), (116, 8, self.gid), (124, 12, self.size), (136, 12, self.mtime)];
        for (at, width, value) in fields {
            put(block, at, width, &number(value, width, self.base256));
        }
        if let Some((major, minor)) = self.device {
            put(block, 329, 8, &number(major, 8, self.base256));
            put(block, 337, 8, &number(minor, 8, self.base256));
        }
    }

    fn put_magic(&self, block: &mut [u8; BLOCK]) {
        match self.dialect {
            Dialect::V7 => return,
            Dialect::Gnu => put(block, 257, 8, b"ustar  \0"),
            Dialect::Ustar | Dialect::Star => put(block, 257, 8, b"ustar\x0000"),
        }
        if self.dialect != Dialect::Gnu {
            put(block, 345, 155, &self.prefix);
        }
        if self.dialect == Dialect::Star {
            put(block, 508, 4, b"tar\0");
        }
    }

    fn put_checksum(&self, block: &mut [u8; BLOCK]) {
        put(block, 148, 8, b"        ");
        let unsigned: i32 = block.iter().map(|&b| i32::from(b)).sum();
        let signed: i32 = block.iter().map(|&b| i32::from(b.cast_signed())).sum();
        let sum = match self.checksum {
            Checksum::Unsigned => unsigned,
            Checksum::Signed => signed,
            Checksum::OffBy(n) => unsigned + n,
        };
        put(block, 148, 8, format!("{sum:06o}\0 ").as_bytes());
    }
}

/// Octal where it fits, base-256 where it does not or when asked.
pub fn number(value: i128, width: usize, base256: bool) -> Vec<u8> {
    let octal = format!("{value:0digits$o}\0", digits = width - 1);
    if !base256 && value >= 0 && octal.len() <= width { octal.into_bytes() } else { base_256(value, width) }
}

fn base_256(value: i128, width: usize) -> Vec<u8> {
    let mut bytes = value.to_be_bytes()[16 - width..].to_vec();
    // The top bit is the flag; for a negative number it is set already.
    bytes[0] |= 0x80;
    bytes
}

fn put(block: &mut [u8], at: usize, width: usize, bytes: &[u8]) {
    let n = bytes.len().min(width);
    block[at..at + n].copy_from_slice(&bytes[..n]);
}

/// The body followed by the zeros that fill its last block.
pub fn padded(body: &[u8]) -> Vec<u8> {
    let mut out = body.to_vec();
    out.resize(body.len().next_multiple_of(BLOCK), 0);
    out
}

/// `LENGTH key=value\n`, where LENGTH counts itself.
pub fn pax_record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}
