/// ACPI Machine Language encoder: each function returns the bytes of one object (ACPI 6.5 section 20.2).
///
/// Pure data, any thread. Nothing here traps: an over-long name is cut to four characters and a package longer than the
/// 28-bit limit of PkgLength is refused long before by the size limit of the whole image.
enum AML {
    static let zero: [UInt8] = [0x00]

    /// The shortest encoding of an integer (section 20.2.3); iasl chooses the same one, which lets tests compare bytes.
    static func integer(_ value: UInt64) -> [UInt8] {
        switch value {
        case 0: [0x00]
        case 1: [0x01]
        case ...0xFF: [0x0A, UInt8(truncatingIfNeeded: value)]
        case ...0xFFFF: [0x0B] + littleEndian(value, 2)
        case ...0xFFFF_FFFF: [0x0C] + littleEndian(value, 4)
        default: [0x0E] + littleEndian(value, 8)
        }
    }

    /// A NUL-terminated ASCII string. Other characters and NUL, which AML cannot express, are left out.
    static func string(_ text: String) -> [UInt8] {
        [0x0D] + text.utf8.filter { $0 > 0 && $0 < 0x80 } + [0]
    }

    /// A compressed EISA identifier such as "PNP0501" (section 19.3.4, EISAID macro): three 5-bit letters, four hex digits,
    /// most significant byte first.
    static func eisaID(_ text: String) -> [UInt8] {
        var id: UInt32 = 0
        for (position, character) in text.utf8.prefix(7).enumerated() {
            if position < 3 {
                id = id << 5 | UInt32(character & 0x1F)
            } else {
                id = id << 4 | UInt32(character > 0x39 ? (character & 0x0F) &+ 9 : character & 0x0F)
            }
        }
        return integer(UInt64(id.byteSwapped))
    }

    /// A NameString: optional root prefix, then one, two or many four-character segments separated by dots.
    static func path(_ text: String) -> [UInt8] {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        if rest.first == 0x5C {
            bytes.append(0x5C)
            rest = rest.dropFirst()
        }
        let segments = rest.split(separator: 0x2E)
        switch segments.count {
        case 0: bytes.append(0x00)
        case 1: break
        case 2: bytes.append(0x2E)
        default: bytes += [0x2F, UInt8(truncatingIfNeeded: segments.count)]
        }
        for segment in segments {
            for position in 0..<4 { bytes.append(segment.dropFirst(position).first ?? 0x5F) }
        }
        return bytes
    }

    static func name(_ path: String, _ value: [UInt8]) -> [UInt8] { [0x08] + AML.path(path) + value }

    static func scope(_ path: String, _ body: [UInt8]) -> [UInt8] { [0x10] + package(AML.path(path) + body) }

    static func device(_ path: String, _ body: [UInt8]) -> [UInt8] { [0x5B, 0x82] + package(AML.path(path) + body) }

    /// A Package of at most 255 elements.
    static func packageObject(_ elements: [[UInt8]]) -> [UInt8] {
        [0x12] + package([UInt8(truncatingIfNeeded: elements.count)] + elements.flatMap { $0 })
    }

    static func buffer(_ contents: [UInt8]) -> [UInt8] { [0x11] + package(integer(UInt64(contents.count)) + contents) }

    /// A control method with up to 7 arguments.
    static func method(_ path: String, arguments: UInt8, serialized: Bool, _ body: [UInt8]) -> [UInt8] {
        [0x14] + package(AML.path(path) + [arguments & 7 | (serialized ? 8 : 0)] + body)
    }

    enum RegionSpace: UInt8 { case systemMemory = 0, systemIO = 1 }

    static func operationRegion(_ path: String, _ space: RegionSpace, offset: UInt64, length: UInt64) -> [UInt8] {
        [0x5B, 0x80] + AML.path(path) + [space.rawValue] + integer(offset) + integer(length)
    }

    /// A Field list over `region`: DWordAcc, NoLock, WriteAsZeros; each entry is a name and a width in bits.
    static func dwordField(_ region: String, _ fields: [(name: String, bits: Int)]) -> [UInt8] {
        var list: [UInt8] = []
        for field in fields { list += path(field.name) + packageLength(field.bits) }
        return [0x5B, 0x81] + package(path(region) + [0x43] + list)
    }

    static func local(_ index: UInt8) -> [UInt8] { [0x60 &+ (index & 7)] }

    static func store(_ source: [UInt8], into target: [UInt8]) -> [UInt8] { [0x70] + source + target }

    /// `left & right`, the result not stored anywhere else.
    static func and(_ left: [UInt8], _ right: [UInt8]) -> [UInt8] { [0x7B] + left + right + [0x00] }

    static func ifTrue(_ predicate: [UInt8], _ body: [UInt8]) -> [UInt8] { [0xA0] + package(predicate + body) }

    static func notify(_ object: String, _ value: UInt64) -> [UInt8] { [0x86] + path(object) + integer(value) }

    // MARK: Encoding

    /// PkgLength in front of `body`, counting itself (section 20.2.4).
    private static func package(_ body: [UInt8]) -> [UInt8] {
        for width in 1...4 {
            let total = body.count + width
            if total <= largestLength(width: width) { return packageLength(total, width: width) + body }
        }
        return packageLength(body.count + 4, width: 4) + body
    }

    /// PkgLength that does not count itself: widths of named fields.
    private static func packageLength(_ value: Int) -> [UInt8] {
        for width in 1...3 where value <= largestLength(width: width) { return packageLength(value, width: width) }
        return packageLength(value, width: 4)
    }

    private static func largestLength(width: Int) -> Int { width == 1 ? 0x3F : (1 << (8 * width - 4)) - 1 }

    private static func packageLength(_ value: Int, width: Int) -> [UInt8] {
        if width == 1 { return [UInt8(truncatingIfNeeded: value & 0x3F)] }
        var bytes = [UInt8(truncatingIfNeeded: (width - 1) << 6 | value & 0x0F)]
        for index in 1..<width { bytes.append(UInt8(truncatingIfNeeded: value >> (8 * index - 4))) }
        return bytes
    }

    static func littleEndian(_ value: UInt64, _ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * UInt64($0))) }
    }
}
