//! What every builder of packings can be told, and how it is started.

/// What both builders of packings can be told, and how they are started.
macro_rules! told_how {
    ($builder:ident) => {
        impl $builder {
            /// Which program is the helper; without it, [`Program::this`].
            #[must_use]
            pub fn program(mut self, program: Program) -> $builder {
                self.plan.program = Some(program);
                self
            }

            /// How the tree is packed: all of it at once, in place of what was said before.
            #[must_use]
            pub fn options(mut self, options: PackOptions) -> $builder {
                self.plan.options = options;
                self
            }

            /// How the archive is compressed.
            #[must_use]
            pub fn encoding(mut self, encoding: Encoding) -> $builder {
                self.plan.options.encoding = encoding;
                self
            }

            /// What the helper is confined to. Mind [`Jail::mounts`], which is not as strict in [`PackOptions`] as by default.
            #[must_use]
            pub fn jail(mut self, jail: Jail) -> $builder {
                self.plan.options.jail = jail;
                self
            }

            /// How long the run may take, by wall clock; a slow reader's time counts. Without it there is no limit.
            #[must_use]
            pub fn timeout(mut self, time: Duration) -> $builder {
                self.plan.options.jail.limits.timeout = Some(time);
                self
            }

            /// What the archive may cost.
            #[must_use]
            pub fn limits(mut self, limits: Limits) -> $builder {
                self.plan.options.limits = limits;
                self
            }

            /// The options, to change those that have no setter here.
            pub fn options_mut(&mut self) -> &mut PackOptions {
                &mut self.plan.options
            }

            /// Calls back as the run advances, about ten times a second; as if [`PackOptions::progress`] were set.
            #[must_use]
            pub fn on_progress(mut self, callback: impl FnMut(Progress) + Send + 'static) -> $builder {
                self.plan.callbacks.progress = Some(Box::new(callback));
                self
            }

            /// Calls back for each entry, before it is packed; as if [`PackOptions::verbose`] were set.
            #[must_use]
            pub fn on_listed(mut self, callback: impl FnMut(Listed) + Send + 'static) -> $builder {
                self.plan.callbacks.listed = Some(Box::new(callback));
                self
            }

            /// A handle that ends the run from another thread, before or after it has started.
            #[must_use]
            pub fn canceller(&self) -> Canceller {
                self.plan.canceller.clone()
            }

            /// One canceller for several runs. What it has been used for ends this run too.
            #[must_use]
            pub fn cancelled_by(mut self, canceller: Canceller) -> $builder {
                self.plan.canceller = canceller;
                self
            }

            /// Packs into an open file, pipe or socket, at its present position. The helper writes to it directly. After an error
            /// what has been written is no whole archive, and every reader that we know refuses it.
            ///
            /// # Errors
            ///
            /// As [`spawn`](Self::spawn) and [`Packing::finish`]; [`ErrorKind::Write`] or [`ErrorKind::Storage`] if it cannot be
            /// written, or nobody reads it.
            pub fn to_fd(self, archive: impl Into<OwnedFd>) -> Result<Packed, Error> {
                start_packing(self.root, self.plan, Some(archive.into()))?.finish()
            }

            /// Packs into a writer. While the writer blocks, the helper's end is not noticed.
            ///
            /// # Errors
            ///
            /// As [`spawn`](Self::spawn) and [`Packing::finish`]; [`ErrorKind::Write`] if the writer fails, which comes before all
            /// others.
            pub fn to(self, mut archive: impl Write) -> Result<Packed, Error> {
                let mut packing = self.spawn()?;
                let mut buffer = vec![0; crate::plan::PIECE];
                let failed = |error: io::Error| Error::io(crate::kind::ErrorKind::Write, "writing the archive", error);
                loop {
                    match packing.advance(&mut buffer) {
                        0 => break,
                        n => archive.write_all(&buffer[..n]).map_err(failed)?,
                    }
                }
                let packed = packing.finish()?;
                archive.flush().map_err(failed)?;
                Ok(packed)
            }

            /// Starts the helper, from which the archive is then read.
            ///
            /// # Errors
            ///
            /// [`ErrorKind::NotInitialised`], [`ErrorKind::Options`], or [`ErrorKind::Helper`] if it cannot be started. What happens
            /// in it is told by [`Packing`].
            pub fn spawn(self) -> Result<Packing, Error> {
                start_packing(self.root, self.plan, None).map(Packing::new)
            }
        }
    };
}
