//! Whiteouts and opaque markers in layer mode. A marker hides what the lower layers have, never what this
//! archive made, and where it stands in the archive never matters.

use super::dirs::{Child, NodeId};
use super::remove;
use super::tree::Tree;
use crate::helper::fault::Result;

impl Tree<'_> {
    /// Hides `name` of the lower layers.
    pub(super) fn whiteout(&mut self, parent: NodeId, name: &[u8]) -> Result<()> {
        match self.dirs.child(parent, name) {
            Some(Child::Leaf(_) | Child::Whiteout | Child::Copied) => Ok(()),
            Some(Child::Dir(id)) if self.dirs.outlives_markers(id) => self.prune(id),
            // Nothing of the lower layers is left here.
            None if self.dirs.node(parent).opaque => Ok(()),
            _ => self.remove_lower(parent, name),
        }
    }

    /// Removes what this archive did not make; each directory is looked through once in a run. What is mounted and left out
    /// is told when the rest is done.
    pub(super) fn prune(&mut self, directory: NodeId) -> Result<()> {
        let (mut stack, mut outcome) = (vec![directory], Ok(()));
        while let Some(id) = stack.pop() {
            if self.dirs.node(id).opaque {
                continue;
            }
            self.dirs.node_mut(id).opaque = true;
            let handle = self.open(id)?;
            for (count, (name, _)) in remove::list(&handle)?.into_iter().enumerate() {
                self.maker.remover.look(count)?;
                match self.dirs.child(id, &name) {
                    Some(Child::Leaf(_) | Child::Whiteout | Child::Copied) => {}
                    Some(Child::Dir(child)) if self.dirs.outlives_markers(child) => stack.push(child),
                    _ => {
                        let removed = self.remove_lower(id, &name);
                        self.go_on(&mut outcome, removed)?;
                    }
                }
            }
        }
        outcome
    }
}
