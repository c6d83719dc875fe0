/// A small ELF kernel: code at 16 MiB, data with bss at 18 MiB, and a note segment.
public struct SyntheticELF {
    public var bytes: [UInt8]

    public static let entry: UInt64 = 0x100_0000
    public static let dataAddress: UInt64 = 0x120_0000
    public static let headers = 64
    public static let notes = 512
    public static let code = 1024
    public static let data = 2048
    public static let size = 3072

    /// - Parameters:
    ///   - entry: e_entry.
    ///   - pvhEntry: address in a Xen note; nil writes another tool's note only.
    ///   - noteSize: of the note's descriptor, 4 or 8.
    public init(entry: UInt64 = Self.entry, pvhEntry: UInt64? = nil, noteSize: Int = 8) {
        bytes = [UInt8](repeating: 0, count: Self.size)
        bytes.replaceSubrange(0..<7, with: [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1])
        bytes.put(UInt16(2), at: 16)
        bytes.put(UInt16(62), at: 18)
        bytes.put(UInt32(1), at: 20)
        bytes.put(entry, at: 24)
        bytes.put(UInt64(Self.headers), at: 32)
        bytes.put(UInt16(64), at: 52)
        bytes.put(UInt16(56), at: 54)
        bytes.put(UInt16(3), at: 56)

        var notes = Self.note(name: "GNU", type: 3, descriptor: [UInt8](repeating: 0xab, count: 20))
        if let pvhEntry {
            var descriptor = [UInt8](repeating: 0, count: 8)
            descriptor.put(pvhEntry, at: 0)
            notes += Self.note(name: "Xen", type: 18, descriptor: [UInt8](descriptor.prefix(noteSize)))
        }
        bytes.replaceSubrange(Self.notes..<Self.notes + notes.count, with: notes)
        for index in 0..<1024 {
            bytes[Self.code + index] = UInt8(truncatingIfNeeded: index)
            bytes[Self.data + index] = UInt8(truncatingIfNeeded: ~index)
        }
        putHeader(0, type: 1, offset: Self.code, address: Self.entry, fileSize: 1024, memorySize: 1024)
        putHeader(1, type: 1, offset: Self.data, address: Self.dataAddress, fileSize: 1024, memorySize: 0x4000)
        putHeader(2, type: 4, offset: Self.notes, address: 0, fileSize: notes.count, memorySize: UInt64(notes.count))
    }

    public mutating func putHeader(
        _ index: Int, type: UInt32, offset: Int, address: UInt64, fileSize: Int, memorySize: UInt64
    ) {
        let base = Self.headers + index * 56
        bytes.put(type, at: base)
        bytes.put(UInt64(offset), at: base + 8)
        bytes.put(address | 0xffff_ffff_8000_0000, at: base + 16)
        bytes.put(address, at: base + 24)
        bytes.put(UInt64(fileSize), at: base + 32)
        bytes.put(memorySize, at: base + 40)
        bytes.put(UInt64(4), at: base + 48)
    }

    private static func note(name: String, type: UInt32, descriptor: [UInt8]) -> [UInt8] {
        var note = [UInt8](repeating: 0, count: 12)
        note.put(UInt32(name.utf8.count + 1), at: 0)
        note.put(UInt32(descriptor.count), at: 4)
        note.put(type, at: 8)
        note += Array(name.utf8) + [0] + descriptor
        return note + [UInt8](repeating: 0, count: (4 - note.count % 4) % 4)
    }
}
