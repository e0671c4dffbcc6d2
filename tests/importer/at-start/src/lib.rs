untar_in_root::helper_at_start!();
