internal import CLinuxSys

/// Files whose bytes are all that counts.
extension SysFile {
    /// A new file in `folder`, open for reading and writing, of no size and no name: it goes with its last descriptor and mapping.
    public static func temporary(in folder: String) throws(Errno) -> OwnedFD {
        if folder.utf8.contains(0) { throw .invalid }
        return OwnedFD(adopting: Int32(truncatingIfNeeded: try retryInterrupted { unsafe sys_temporary_file(folder) }))
    }
}

extension OwnedFD {
    /// Makes the file so many bytes long; what is new reads as zeros and takes no room yet.
    public borrowing func setSize(_ bytes: UInt64) throws(Errno) {
        guard let size = Int64(exactly: bytes) else { throw .invalid }
        _ = try check(sys_ftruncate(raw, size))
    }
}
