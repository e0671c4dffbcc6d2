//! What a helper waits for an answer to, and who answers: whoever hears the question, or a driver that may not be held
//! up where it hears.

use super::Child;
use crate::linux::idmap;
use crate::wire::Down;

#[derive(Clone, Copy)]
pub(in crate::linux::child) enum Question {
    IdMap,
    Lowers,
}

impl Child {
    pub(super) fn is_asked(&mut self, question: Question) {
        match self.defers {
            true => self.asked = Some(question),
            false => self.answer(question),
        }
    }

    /// May take its time: programs are started, or other runs waited for.
    fn answer(&mut self, question: Question) {
        let answer = match question {
            Question::IdMap => {
                let (mapped, refusal) = idmap::write(&self.process, &self.terms.jail.user_namespace);
                self.kept.refusal = refusal;
                Down::IdMapDone(mapped)
            }
            Question::Lowers => {
                if let Some(wait) = &mut self.callbacks.lowers {
                    wait();
                }
                Down::LowersReady
            }
        };
        self.send(&answer);
    }
}

/// For a driver that may not be held up.
#[cfg(feature = "tokio")]
impl Child {
    /// From now on questions wait for [`answer_asked`](Child::answer_asked).
    pub(in crate::linux) fn defer_answers(&mut self) {
        self.defers = true;
    }

    pub(in crate::linux) fn has_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// Answers, and takes note of what was said since.
    pub(in crate::linux) fn answer_asked(&mut self) {
        if let Some(question) = self.asked.take() {
            self.answer(question);
            self.hear_all();
        }
    }
}
