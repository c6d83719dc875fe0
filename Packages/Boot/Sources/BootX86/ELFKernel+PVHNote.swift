internal import BootCommon

extension ELFKernel {
    /// Debian's vmlinux has about 500 bytes of notes.
    static let noteLimit: UInt64 = 64 << 10
    private static let physicalEntry32: UInt32 = 18  // XEN_ELFNOTE_PHYS32_ENTRY

    /// The address in the PVH note, or nil when no note segment has one. A malformed note ends the walk of its segment:
    /// other tools' notes are none of the loader's business.
    static func pvhEntry(
        _ headers: [ProgramHeader], source: borrowing some KernelSource & ~Copyable
    ) throws(KernelImageError) -> UInt64? {
        for header in headers where header.type == ProgramHeader.note && header.fileSize > 0 {
            guard header.fileSize <= noteLimit else { throw .notesTooLarge(header.fileSize) }
            try checkInsideFile(header, size: source.size)
            let notes = LittleEndianBytes(
                try source.bytes(at: header.offset, count: Int(truncatingIfNeeded: header.fileSize)))
            if let entry = pvhEntry(in: notes, alignment: header.alignment == 8 ? 8 : 4) { return entry }
        }
        return nil
    }

    private static func pvhEntry(in notes: LittleEndianBytes, alignment: Int) -> UInt64? {
        var offset = 0
        while let nameSize = notes.load(UInt32.self, at: offset),
            let size = notes.load(UInt32.self, at: offset + 4), let type = notes.load(UInt32.self, at: offset + 8)
        {
            // Sizes are at most 32 bits and the offset at most `noteLimit`: no sum here can overflow 64 bits, and each
            // turn advances by 12 or more.
            let descriptor = (offset + 12 + Int(nameSize) + alignment - 1) & ~(alignment - 1)
            if type == physicalEntry32, nameSize == 4, notes.matches([0x58, 0x65, 0x6e, 0], at: offset + 12) {
                switch size {
                case 4: return notes.load(UInt32.self, at: descriptor).map { UInt64($0) }
                case 8: return notes.load(UInt64.self, at: descriptor)
                default: return nil
                }
            }
            offset = (descriptor + Int(size) + alignment - 1) & ~(alignment - 1)
        }
        return nil
    }
}
