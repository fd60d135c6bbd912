//! The one integration binary.

<<<<<<< HEAD
mod synth;
=======
mod registry;
>>>>>>> part-d
