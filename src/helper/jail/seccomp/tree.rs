//! What the call's number alone decides, as a binary search in front of the compiled filter: the kernel follows a
//! new filter once for every call there is and translates it step by step, which makes a list of a hundred
//! comparisons the dearest part of a small run. So also a call that is refused is refused by the search.

use seccompiler::{BpfProgram, sock_filter};

/// Load a word of `struct seccomp_data`; its first is the call's number, its second the architecture.
const LOAD: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

/// What the compiler begins each program with: the architecture's check, then the call's number is loaded.
const HEAD: usize = 4;

/// Where the lower half of the first argument is.
const FIRST_ARGUMENT: u32 = if cfg!(target_endian = "little") { 16 } else { 20 };

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Allow,
    /// Allowed, but on descriptor 0 it ends the process.
    NotOnTheArchive,
    /// Answered with `ENOSYS`.
    Unknown,
    /// The program that follows decides.
    Other,
    /// It ends the process.
    Kill,
}

/// `program` with a search in front that gives each of `calls` its verdict; any other ends the process. `None` if
/// it does not begin as expected, or the search gets too long for a conditional jump's 255 steps.
pub(super) fn search_first(mut program: BpfProgram, calls: &[(libc::c_long, Verdict)]) -> Option<BpfProgram> {
    let head = program.get(..HEAD)?;
    let codes: Vec<u16> = head.iter().map(|step| step.code).collect();
    if codes != [LOAD, JUMP_IF_EQUAL, RETURN, LOAD] || (head[0].k, head[3].k) != (4, 0) {
        return None;
    }
    let (first, rest) = segments(calls)?;
    let mut steps = Vec::with_capacity(rest.len() + TAIL);
    search(&mut steps, first, &rest, rest.len())?;
    steps.extend(tail());
    program.splice(HEAD..HEAD, steps);
    Some(program)
}

/// The numbers at which the verdict changes, in order, each with what holds from there; before them, what holds
/// from zero.
fn segments(calls: &[(libc::c_long, Verdict)]) -> Option<(Verdict, Vec<(u32, Verdict)>)> {
    let number = |(call, verdict): &(libc::c_long, Verdict)| Some((u32::try_from(*call).ok()?, *verdict));
    let mut calls = calls.iter().map(number).collect::<Option<Vec<_>>>()?;
    calls.sort_unstable_by_key(|(number, _)| *number);
    let mut changes: Vec<(u32, Verdict)> = vec![(0, Verdict::Kill)];
    for (number, verdict) in calls {
        // The last change takes the rest of the numbers back, so it is at the first that is not listed.
        if changes.last().is_some_and(|(from, _)| *from == number) {
            changes.pop();
        }
        if changes.last().is_none_or(|(_, before)| *before != verdict) {
            changes.push((number, verdict));
        }
        changes.push((number.checked_add(1)?, Verdict::Kill));
    }
    let (_, first) = changes.remove(0);
    Some((first, changes))
}

/// One comparison for each change, `length` in all; both ways lead to another one or behind the search.
fn search(steps: &mut Vec<sock_filter>, before: Verdict, changes: &[(u32, Verdict)], length: usize) -> Option<()> {
    let (left, right) = changes.split_at(changes.len() / 2);
    let Some(((at, verdict), right)) = right.split_first() else { return Some(()) };
    let here = steps.len();
    let out = |verdict| length + entrance(verdict) - here - 1;
    let less = if left.is_empty() { out(before) } else { 0 };
    let not_less = if right.is_empty() { out(*verdict) } else { left.len() };
    steps.push(step(JUMP_IF_AT_LEAST, *at, u8::try_from(not_less).ok()?, u8::try_from(less).ok()?));
    search(steps, before, left, length)?;
    search(steps, *verdict, right, length)
}

const TAIL: usize = 5;

/// Where in the tail a verdict is.
const fn entrance(verdict: Verdict) -> usize {
    match verdict {
        Verdict::NotOnTheArchive => 0,
        Verdict::Kill => 2,
        Verdict::Allow => 3,
        Verdict::Unknown => 4,
        Verdict::Other => TAIL,
    }
}

fn tail() -> [sock_filter; TAIL] {
    let unknown = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();
    [
        step(LOAD, FIRST_ARGUMENT, 0, 0),
        step(JUMP_IF_EQUAL, 0, 0, 1),
        step(RETURN, libc::SECCOMP_RET_KILL_PROCESS, 0, 0),
        step(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0),
        step(RETURN, unknown, 0, 0),
    ]
}

fn step(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::super::Reach;
    use super::*;
    use crate::helper::open;
    use crate::helper::sys::How;

    /// Follows a filter as the kernel does: the verdict, and how many steps it took.
    fn follow(program: &[sock_filter], data: &[u32; 16]) -> (u32, usize) {
        let (mut at, mut a, mut steps) = (0, 0u32, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at].clone();
            steps += 1;
            at += 1;
            let jump = |yes: bool| usize::from(if yes { jt } else { jf });
            match code {
                LOAD => a = data[k as usize / 4],
                0x54 => a &= k,
                0x05 => at += k as usize,
                JUMP_IF_EQUAL => at += jump(a == k),
                0x25 => at += jump(a > k),
                JUMP_IF_AT_LEAST => at += jump(a >= k),
                RETURN => return (k, steps),
                other => panic!("no such step: {other:#x}"),
            }
        }
    }

    /// The verdict of the tree for these arguments, which is that of the lists; how many steps each took.
    fn both(programs: &[BpfProgram; 3], data: &[u32; 16]) -> (u32, usize, usize) {
        let [tree, answers, list] = programs;
        let (new, old, first) = (follow(tree, data), follow(list, data), follow(answers, data));
        // The kernel takes the stricter one: the lower as a signed number.
        let stricter = first.0.cast_signed().min(old.0.cast_signed()).cast_unsigned();
        assert_eq!(new.0, stricter, "{data:x?}");
        (new.0, new.1, old.1 + first.1)
    }

    fn programs(reach: Reach) -> [BpfProgram; 3] {
        let here = super::super::target(std::env::consts::ARCH).expect("filters");
        let [answers, list] = super::super::two(here, reach).expect("lists");
        [super::super::one(here, reach).expect("a tree"), answers, list]
    }

    #[test]
    fn the_tree_says_what_the_lists_say_in_half_the_steps() {
        // Values that conditions ask for, and others.
        let named = [libc::PR_SET_NAME, libc::PR_SET_VMA, libc::F_DUPFD_CLOEXEC].map(i32::cast_unsigned);
        let others =
            [0, 1, 2, 3, 0x18, 0x20, 0x22, 0x1000, 0x11ff, 0x19ed, 0x0001_0000, 0x003d_0f00, std::process::id()];
        let words = [&named[..], &others].concat();
        for reach in [
            Reach::Root,
            Reach::Beneath { cross_mounts: false },
            Reach::Reading { by_name: true },
            Reach::Reading { by_name: false },
        ] {
            let programs = programs(reach);
            let (mut in_tree, mut in_list) = (0, 0);
            for arch in [programs[0][1].k, 0x4000_0003, 0] {
                for call in (0..600).chain([0x4000_0001, u32::MAX]) {
                    for (one, two) in words.iter().flat_map(|one| words.iter().map(move |two| (*one, *two))) {
                        let data = [call, arch, 0, 0, one, 0, two, 0, one, 0, two, 0, one, 0, 0, 0];
                        let (_, new, old) = both(&programs, &data);
                        in_tree += new;
                        in_list += old;
                    }
                }
            }
            assert!(in_tree * 2 < in_list, "{in_tree} steps against {in_list}");
        }
    }

    /// Where no root was entered nothing is opened but as a constant says that lies where it lies.
    const ACROSS: open::Use = open::Use::Writing { cross_mounts: true };

    #[test]
    fn only_what_lies_in_the_table_opens() {
        let (here, across) = (Reach::Beneath { cross_mounts: false }, Reach::Beneath { cross_mounts: true });
        let (opens, size) = (libc::SYS_openat2 as u32, How::SIZE as u32);
        let count = |reach: Reach| {
            let programs = programs(reach);
            let verdict = |how: u64, size: u32| {
                let (low, high) = (how as u32, (how >> 32) as u32);
                both(&programs, &[opens, programs[0][1].k, 0, 0, 3, 0, 1, 0, low, high, size, 0, 0, 0, 0, 0]).0
            };
            let all = open::table(ACROSS).chain(open::table(open::Use::Reading));
            let all: Vec<u64> = all.map(|how| how.addr() as u64).collect();
            let opened = all.iter().filter(|how| verdict(**how, size) == libc::SECCOMP_RET_ALLOW).count();
            for how in all {
                for (how, size) in [(how + 1, size), (how - 8, size), (how ^ (1 << 33), size), (how, size + 8)] {
                    assert_eq!(verdict(how, size), libc::SECCOMP_RET_KILL_PROCESS, "{reach:?}");
                }
            }
            opened
        };
        assert_eq!((count(here), count(across)), (open::table(ACROSS).count() - 1, open::table(ACROSS).count()));
        assert_eq!(count(Reach::Reading { by_name: false }), open::table(open::Use::Reading).count());
    }

    #[test]
    fn verdicts_of_neighbours_are_told_apart() {
        let calls = [(0, Verdict::Allow), (1, Verdict::NotOnTheArchive), (2, Verdict::Allow), (3, Verdict::Allow)];
        let (first, rest) = segments(&calls).expect("in range");
        let expected = [(1, Verdict::NotOnTheArchive), (2, Verdict::Allow), (4, Verdict::Kill)];
        assert_eq!((first, &rest[..]), (Verdict::Allow, &expected[..]));
    }
}
