//! Every file operation behind one trait: the real one, and a simulated one that tears, loses and lies.
