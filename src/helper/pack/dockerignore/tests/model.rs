//! As simple as can be: each way is tried in turn.

/// Whether the last line that matches the path, or a directory above it, excludes it.
pub(super) fn excluded(lines: &[String], path: &str) -> bool {
    let mut excluded = false;
    for line in lines {
        let (pattern, excepts) = match line.strip_prefix('!') {
            Some(pattern) => (pattern, true),
            None => (&line[..], false),
        };
        let pattern: Vec<char> = clean(pattern).chars().collect();
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        let matches = |end: usize| is_match(&pattern, &path[..end].chars().collect::<Vec<_>>());
        if ends.into_iter().any(matches) {
            excluded = !excepts;
        }
    }
    excluded
}

fn clean(pattern: &str) -> String {
    let mut parts = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if pattern.starts_with('/') => {}
            part => parts.push(part),
        }
    }
    if parts.is_empty() { "/".to_owned() } else { parts.join("/") }
}

fn is_match(pattern: &[char], path: &[char]) -> bool {
    match pattern {
        // To moby this is no expression but an ending.
        ['*', '*', rest @ ..] if rest.first() != Some(&'/') && !rest.iter().any(|c| "*?[]\\".contains(*c)) => {
            path.ends_with(rest)
        }
        pattern => tail(pattern, path),
    }
}

fn tail(pattern: &[char], path: &[char]) -> bool {
    match pattern {
        [] => path.is_empty(),
        ['*', '*'] | ['*', '*', '/'] => true,
        ['*', '*', rest @ ..] => {
            let rest = rest.strip_prefix(&['/']).unwrap_or(rest);
            tail(rest, path) || (0..path.len()).any(|at| path[at] == '/' && tail(rest, &path[at + 1..]))
        }
        ['*', rest @ ..] => (0..=path.len()).any(|at| !path[..at].contains(&'/') && tail(rest, &path[at..])),
        ['?', rest @ ..] => matches!(path, [first, after @ ..] if *first != '/' && tail(rest, after)),
        ['\\', letter, rest @ ..] => matches!(path, [first, after @ ..] if first == letter && tail(rest, after)),
        ['[', '^', a, b, ']', rest @ ..] => {
            matches!(path, [first, after @ ..] if first != a && first != b && tail(rest, after))
        }
        ['[', a, b, ']', rest @ ..] => {
            matches!(path, [first, after @ ..] if (first == a || first == b) && tail(rest, after))
        }
        [letter, rest @ ..] => matches!(path, [first, after @ ..] if first == letter && tail(rest, after)),
    }
}
