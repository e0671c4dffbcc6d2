//! What an image is for, for people and for programs.

use serde_json::Value;
use std::cell::Cell;
use untar_in_root::Escaped;
use untar_in_root::image::{Description, Execution, History, Image};

/// Bytes of configurations that are still shown: ten thousand images may have one of 4 MiB in common.
pub(super) struct Budget(Cell<usize>);

impl Default for Budget {
    fn default() -> Budget {
        Budget(Cell::new(64 << 20))
    }
}

impl Budget {
    pub(super) fn describe(&self, image: &Image) -> Described {
        let Some(left) = self.0.get().checked_sub(image.config().len()) else {
            return Described(Err("not shown: the configurations before it are more than 64 MiB".to_owned()));
        };
        self.0.set(left);
        Described(image.description().map_err(|error| error.to_string()))
    }
}

/// What a configuration says, or why that is not known.
pub(super) struct Described(Result<Description, String>);

impl Described {
    pub(super) fn value(&self) -> Value {
        // Plain data always serialises.
        self.0.as_ref().map_or(Value::Null, |said| serde_json::to_value(said).unwrap_or_default())
    }

    pub(super) fn error(&self) -> Option<&str> {
        self.0.as_ref().err().map(String::as_str)
    }

    pub(super) fn lines(&self, layers: usize) -> Vec<String> {
        match &self.0 {
            Ok(said) => shown(said, layers),
            Err(error) => vec![format!("config    {error}")],
        }
    }
}

fn shown(said: &Description, layers: usize) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(text("created", said.created.as_ref()));
    lines.extend(text("author", said.author.as_ref()));
    lines.extend(said.config.iter().flat_map(execution));
    lines.extend(history(&said.history, layers));
    lines
}

fn execution(config: &Execution) -> Vec<String> {
    let labels: Vec<String> = config.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mut lines = Vec::new();
    lines.extend(command("entry", &config.entrypoint));
    lines.extend(command("command", &config.cmd));
    lines.extend(several("env", &config.env));
    lines.extend(text("user", config.user.as_ref()));
    lines.extend(text("workdir", config.working_dir.as_ref()));
    lines.extend(several("label", &labels));
    lines.extend(several("port", &config.exposed_ports));
    lines.extend(several("volume", &config.volumes));
    lines.extend(text("signal", config.stop_signal.as_ref()));
    lines
}

/// Which layer each step made, if the numbers agree.
fn history(steps: &[History], layers: usize) -> Vec<String> {
    let makes = |step: &&History| !step.empty_layer.unwrap_or_default();
    let agree = steps.iter().filter(makes).count() == layers;
    let mut number = 0;
    let line = |step: &History| {
        let made = makes(&step);
        number += usize::from(made);
        let layer = if made && agree { number.to_string() } else { "-".to_owned() };
        let words = [&step.created, &step.created_by, &step.author, &step.comment];
        let words: Vec<String> = words.into_iter().flatten().map(|word| escaped(word)).collect();
        format!("{layer:>6}    {}", words.join("  "))
    };
    let head = (!steps.is_empty()).then(|| format!("history   {}", steps.len()));
    head.into_iter().chain(steps.iter().map(line)).collect()
}

fn text(name: &str, value: Option<&String>) -> Option<String> {
    value.filter(|value| !value.is_empty()).map(|value| format!("{name:<10}{}", escaped(value)))
}

/// A line for each, the name before the first.
fn several(name: &str, values: &[String]) -> Vec<String> {
    let named = values.iter().enumerate().map(|(at, value)| (if at == 0 { name } else { "" }, value));
    named.map(|(name, value)| format!("{name:<10}{}", escaped(value))).collect()
}

/// Words in quotes, so that it is seen where each ends.
fn command(name: &str, words: &[String]) -> Option<String> {
    let quoted: Vec<String> = words.iter().map(|word| format!("{:?}", Escaped(word.as_bytes()))).collect();
    (!words.is_empty()).then(|| format!("{name:<10}{}", quoted.join(" ")))
}

fn escaped(value: &str) -> String {
    Escaped(value.as_bytes()).to_string()
}
