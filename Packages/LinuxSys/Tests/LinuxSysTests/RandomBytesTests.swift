import LinuxSys
import Testing

@Suite struct RandomBytesTests {
    @Test func bytes_areAsManyAsAskedFor_andNeverTheSame() throws {
        #expect(try RandomBytes.make(0).isEmpty)
        let first = try RandomBytes.make(64)
        #expect(first.count == 64 && Set(first).count > 16)
        #expect(try RandomBytes.make(64) != first)
        #expect(try RandomBytes.make(RandomBytes.limit).count == 256)
    }

    @Test(arguments: [-1, 257, .max]) func tooMany_areRefused(_ count: Int) {
        #expect(throws: Errno.invalid) { try RandomBytes.make(count) }
    }

    @Test func hostPages_areAPowerOfTwo() {
        #expect(HostPages.size >= 4096 && HostPages.size & (HostPages.size - 1) == 0)
    }
}
