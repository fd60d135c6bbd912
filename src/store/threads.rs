//! Threads that work side by side.

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

/// So many threads: those that the caller runs on, where it runs on as many already, else others.
#[derive(Debug)]
pub(crate) struct Threads(Option<ThreadPool>);

impl Threads {
    /// So many threads, at least one.
    ///
    /// # Errors
    /// When the system has no more of them.
    pub(crate) fn new(count: usize) -> Result<Self, ThreadPoolBuildError> {
        let count = count.max(1);
        if rayon::current_thread_index().is_some() && rayon::current_num_threads() == count {
            return Ok(Self(None));
        }
        Ok(Self(Some(ThreadPoolBuilder::new().num_threads(count).build()?)))
    }

    /// Runs work on them.
    pub(crate) fn install<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match &self.0 {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Threads;

    #[test]
    fn as_many_as_are_wanted_work_and_no_others_are_made_where_they_are() {
        let three = Threads::new(3).unwrap();
        let (outer, same, other) = three.install(|| {
            let outer = std::thread::current().id();
            let here = |count| {
                Threads::new(count)
                    .unwrap()
                    .install(|| (rayon::current_num_threads(), std::thread::current().id()))
            };
            (outer, here(3), here(2))
        });
        assert_eq!(same, (3, outer));
        assert_eq!(other.0, 2);
        assert_ne!(other.1, outer);
        assert_eq!(Threads::new(0).unwrap().install(rayon::current_num_threads), 1);
    }
}
