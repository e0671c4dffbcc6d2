//! The calls that are allowed whatever their arguments, as a binary search in front of the compiled filter: the
//! kernel follows a new filter once for every call there is, and a list of a hundred comparisons makes that the
//! dearest part of a small run.

use seccompiler::{BpfProgram, sock_filter};

/// Load a word of `struct seccomp_data`; its first is the call's number, its second the architecture.
const LOAD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_GREATER: u16 = 0x25;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

/// What the compiler begins each program with: the architecture's check, then the call's number is loaded.
const HEAD: usize = 4;

/// `program` with these calls allowed before it looks at any. `None` if it does not begin as expected.
pub(super) fn allow_first(mut program: BpfProgram, calls: &[libc::c_long]) -> Option<BpfProgram> {
    let head = program.get(..HEAD)?;
    let codes: Vec<u16> = head.iter().map(|step| step.code).collect();
    if codes != [LOAD, JUMP_IF_EQUAL, RETURN, LOAD] || (head[0].k, head[3].k) != (4, 0) {
        return None;
    }
    let mut tree = node(&ranges(calls)?);
    let length = tree.len();
    for (at, step) in tree.iter_mut().enumerate().filter(|(_, step)| step.code == JUMP && step.k == MISS) {
        step.k = u32::try_from(length - at - 1).ok()?;
    }
    program.splice(HEAD..HEAD, tree);
    Some(program)
}

/// Jumps to behind the tree, until it is known how far that is.
const MISS: u32 = u32::MAX;

/// Adjacent numbers together.
fn ranges(calls: &[libc::c_long]) -> Option<Vec<(u32, u32)>> {
    let mut numbers = calls.iter().map(|call| u32::try_from(*call).ok()).collect::<Option<Vec<u32>>>()?;
    numbers.sort_unstable();
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, end)) if number <= *end + 1 => *end = number,
            _ => ranges.push((number, number)),
        }
    }
    Some(ranges)
}

fn node(ranges: &[(u32, u32)]) -> Vec<sock_filter> {
    let (left, right) = ranges.split_at(ranges.len() / 2);
    match (left, right) {
        (_, []) => Vec::new(),
        ([], [(start, end), ..]) => vec![
            step(JUMP_IF_AT_LEAST, *start, 0, 2),
            step(JUMP_IF_GREATER, *end, 1, 0),
            step(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0),
            step(JUMP, MISS, 0, 0),
        ],
        (_, [(start, _), ..]) => {
            let (left, right) = (node(left), node(right));
            // A conditional jump reaches only 255 steps.
            let over = u32::try_from(left.len()).unwrap_or(MISS);
            let mut steps = vec![step(JUMP_IF_AT_LEAST, *start, 0, 1), step(JUMP, over, 0, 0)];
            steps.extend(left);
            steps.extend(right);
            steps
        }
    }
}

fn step(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Follows a filter as the kernel does: the verdict, and how many steps it took.
    pub(crate) fn follow(program: &[sock_filter], data: &[u32; 16]) -> (u32, usize) {
        let (mut at, mut a, mut steps) = (0, 0u32, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at].clone();
            steps += 1;
            at += 1;
            let jump = |yes: bool| usize::from(if yes { jt } else { jf });
            match code {
                LOAD => a = data[k as usize / 4],
                0x54 => a &= k,
                JUMP => at += k as usize,
                JUMP_IF_EQUAL => at += jump(a == k),
                JUMP_IF_GREATER => at += jump(a > k),
                JUMP_IF_AT_LEAST => at += jump(a >= k),
                RETURN => return (k, steps),
                other => panic!("no such step: {other:#x}"),
            }
        }
    }

    #[test]
    fn the_tree_says_what_the_list_says_in_fewer_steps() {
        let here = super::super::target(std::env::consts::ARCH).expect("filters");
        let (tree, list) =
            (super::super::program(here, true).expect("a tree"), super::super::program(here, false).expect("a list"));
        let arch = tree[1].k;
        let (mut in_tree, mut in_list) = (0, 0);
        // Values that conditions ask for, and others.
        let words = [0, 1, 2, 3, 0x20, 0x22, 0x0001_0000, 0x003d_0f00, 0x1_0000, 1030, std::process::id()];
        for arch in [arch, 0x4000_0003, 0] {
            for call in (0..600).chain([0x4000_0001, u32::MAX]) {
                for (one, two) in words.iter().flat_map(|one| words.iter().map(move |two| (*one, *two))) {
                    let data = [call, arch, 0, 0, one, 0, two, 0, one, 0, two, 0, 0, 0, 0, 0];
                    let (new, old) = (follow(&tree, &data), follow(&list, &data));
                    assert_eq!(new.0, old.0, "call {call} of {arch:#x} with {one:#x}, {two:#x}");
                    in_tree += new.1;
                    in_list += old.1;
                }
            }
        }
        assert!(in_tree * 2 < in_list, "{in_tree} steps against {in_list}");
    }
}
