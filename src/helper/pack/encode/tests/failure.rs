//! What came out of an encoder that did not come to its end.

use super::*;

/// What came out, to be looked at from elsewhere.
#[derive(Clone, Default)]
struct Out(Arc<Mutex<Vec<u8>>>);

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("memory").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where it may be dropped: what came out until then.
fn dropped(content: &[u8], encoding: Encoding, flush: bool) -> Vec<u8> {
    let out = Out::default();
    let mut encoder = Encoder::new(out.clone(), encoding, 2).expect("an encoder");
    encoder.write_all(content).expect("memory");
    if flush {
        encoder.flush().expect("memory");
    }
    drop(encoder);
    std::mem::take(&mut *out.0.lock().expect("memory"))
}

#[test]
fn rule_25_what_is_not_finished_is_not_whole() {
    for encoding in ENCODINGS {
        let Some(name) = program(encoding).filter(|name| need(name)) else { continue };
        for length in [0, 1, BLOCK, BLOCK + 1, 4 * BLOCK, 9 * BLOCK, 2 * JOB + 5] {
            for flush in [false, true] {
                let blob = dropped(&content(7, length), encoding, flush);
                // Of nothing at all the programs say that it is good.
                let refused = blob.is_empty() || !run(Command::new(name).args(["-d", "-c"]), &blob).status.success();
                assert!(refused, "{encoding:?}: {length} bytes, {} came out", blob.len());
            }
        }
    }
}

/// The end of a broken archive can be told so.
#[test]
fn rule_25_all_of_a_plain_archive_comes_out_when_it_is_flushed() {
    let content = content(8, BLOCK + 5);
    assert!(dropped(&content, Encoding::Plain, true) == content);
    assert!(dropped(&content, Encoding::Plain, false).len() < content.len());
}

/// Others write it then.
#[test]
fn rule_25_all_of_a_long_plain_archive_comes_out_too_and_how_much_is_known() {
    let content = content(13, 9 * JOB + 5);
    assert!(dropped(&content, Encoding::Plain, true) == content);
    let out = Out::default();
    let mut encoder = Encoder::new(out.clone(), Encoding::Plain, 2).expect("an encoder");
    content.chunks(3 * BLOCK + 1).for_each(|piece| encoder.write_all(piece).expect("memory"));
    encoder.break_off();
    assert!(*out.0.lock().expect("memory") == content, "what was given up is as it stands");
    let mut encoder = Encoder::new(Out::default(), Encoding::Plain, 2).expect("an encoder");
    encoder.write_all(&content).expect("memory");
    encoder.flush().expect("memory");
    assert_eq!(encoder.progress(), (content.len() as u64, content.len() as u64));
    encoder.write_all(b"more").expect("memory");
    let (out, sums) = encoder.finish().expect("memory");
    assert_eq!((out.0.lock().expect("memory").len() as u64, sums.size), (sums.blob_size, content.len() as u64 + 4));
}

/// Takes so many bytes.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.0);
        self.0 -= taken;
        if taken == 0 { Err(io::Error::from_raw_os_error(Errno::ENOSPC as i32)) } else { Ok(taken) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn rule_25_a_target_that_fails_fails_for_good() {
    for encoding in ENCODINGS {
        for room in [0, 5, 1000, BLOCK] {
            let mut encoder = Encoder::new(Full(room), encoding, 2).expect("an encoder");
            let random: Vec<u8> = content(9, 9 * JOB);
            let first = random.chunks(BLOCK).find_map(|piece| encoder.write_all(piece).err()).expect("a full disk");
            assert_eq!(first.raw_os_error(), Some(Errno::ENOSPC as i32), "{encoding:?}");
            assert!(encoder.finish().is_err(), "{encoding:?}: {room}");
        }
    }
}

/// Fails once, as a write does that the time limit or a signal ends, and then takes all again.
struct Once(Arc<Mutex<Vec<u8>>>, usize);

impl Write for Once {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1 = self.1.wrapping_sub(1);
        if self.1 == 0 {
            return Err(Errno::ETIMEDOUT.into());
        }
        self.0.lock().expect("bytes").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Else a reader that stops at what is no header would not come to where the end is wanting.
#[test]
fn law_7_what_came_before_a_failure_is_the_beginning_and_nothing_else() {
    let bytes = content(7, 40 * BLOCK);
    for threads in [1, 2, 8] {
        for fails in [1, 2, 3, 9] {
            let out = Arc::new(Mutex::new(Vec::new()));
            let to = Once(Arc::clone(&out), fails);
            let mut encoder = Encoder::new(to, Encoding::Gzip { level: 1 }, threads).expect("an encoder");
            encoder.write_all(&bytes).expect_err("a write that fails");
            encoder.break_off();
            let written = out.lock().expect("bytes").clone();
            let mut came = Vec::new();
            let ended = io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&written[..]), &mut came);
            assert!(ended.is_err() && bytes.starts_with(&came), "{threads} {fails}: {} of {}", came.len(), bytes.len());
            assert_eq!(came.is_empty(), fails < 3);
        }
    }
}
