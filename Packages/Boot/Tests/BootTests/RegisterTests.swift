import Boot
import BootX86
import CPU
import Testing

@Suite struct RegisterTests {
    @Test func longEntry_hasTheStateOfThe64BitBootProtocol() {
        let image = X86Boot.registers(for: .long(rip: 0x10_0200))
        #expect(image.rip == 0x10_0200)
        #expect(image.rsp == 0x8ff0 && image.rbp == 0x8ff0 && image.rsi == 0x7000 && image.rbx == 0)
        #expect(image.rflags == 2)
        #expect(image.cs == X86Segment(selector: 0x10, limit: 0xffff_ffff, attributes: 0xa09b))
        for segment in [image.ds, image.es, image.fs, image.gs, image.ss] {
            #expect(segment == X86Segment(selector: 0x18, limit: 0xffff_ffff, attributes: 0xc093))
        }
        #expect(image.tr.attributes == 0x8b)
        #expect(image.gdtBase == 0x500 && image.gdtLimit == 31)
        #expect(image.idtBase == 0x520 && image.idtLimit == 7)
        #expect(image.cr0 & 0x8000_0001 == 0x8000_0001)
        #expect(image.cr3 == 0x9000 && image.cr4 == 0x20 && image.efer == 0x500)
    }

    @Test func pvhEntry_hasTheStateOfTheHVMDirectBootABI() {
        let image = X86Boot.registers(for: .pvh(rip: 0x100_0000))
        #expect(image.rip == 0x100_0000 && image.rbx == 0x6000 && image.rflags == 2)
        #expect(image.cs == X86Segment(selector: 0x8, limit: 0xffff_ffff, attributes: 0xc09b))
        for segment in [image.ds, image.es, image.ss] {
            #expect(segment == X86Segment(selector: 0x10, limit: 0xffff_ffff, attributes: 0xc093))
        }
        #expect(image.tr == X86Segment(selector: 0x18, limit: 0x67, attributes: 0x8b))
        #expect(image.cr0 == 0x11 && image.cr3 == 0 && image.cr4 == 0 && image.efer == 0)
        #expect(image.gdtBase == 0x500 && image.gdtLimit == 31)
    }
}
