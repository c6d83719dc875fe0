/* The way from a monitor to main() in the least privileged ring.
 *
 * Entered as a PVH kernel: 32-bit protected mode without paging, EBX: address of the start info. A host whose KVM has no VT-x or SVM behind it
 * emulates what runs in ring 0, some hundred thousand instructions a second, and runs ring 3 natively; so all tables are made by the assembler, ring 0
 * executes thirty instructions, and nothing ever comes back to it: no interrupt is taken, no system call made, and an exception ends the machine.
 *
 * Ring 3 may use all memory, the first 4 GiB identity-mapped, and all ports: the task state segment's bitmap permits them. */

        .section .note.PVH, "a", @note
        .long 4, 4, 18                  /* sizes of name and value; XEN_ELFNOTE_PHYS32_ENTRY */
        .asciz "Xen"
        .long start

        .section .tables, "aw"          /* first in memory, at BASE */
        .set BASE, 0x1000000
        .set PRESENT, 0x7               /* present, writable, user */

        .balign 4096
level4: .quad level3 + PRESENT
        .fill 511, 8, 0
level3: .quad level2 + PRESENT, level2 + 0x1000 + PRESENT, level2 + 0x2000 + PRESENT, level2 + 0x3000 + PRESENT
        .fill 508, 8, 0
level2: .set address, 0
        .rept 2048
        .quad address + 0x80 + PRESENT  /* 2 MiB pages */
        .set address, address + 0x200000
        .endr

task:   .fill 102, 1, 0
        .word 104                       /* where the bitmap begins */
        .fill 8192, 1, 0
        .byte 0xff
task_end:
        .set TASK, BASE + (task - level4)

        .balign 16
segments:                               /* Linux's selectors, which are also what SYSEXIT wants (base 0x10) */
        .quad 0
        .quad 0x00cf9b000000ffff        /* 0x08 32-bit code */
        .quad 0x00af9b000000ffff        /* 0x10 64-bit code */
        .quad 0x00cf93000000ffff        /* 0x18 data */
        .quad 0x00cffb000000ffff        /* 0x23 ring 3: 32-bit code */
        .quad 0x00cff3000000ffff        /* 0x2b ring 3: data */
        .quad 0x00affb000000ffff        /* 0x33 ring 3: 64-bit code */
        .quad 0x00cff3000000ffff        /* 0x3b ring 3: data, again */
        .quad (task_end - task - 1) | ((TASK & 0xffffff) << 16) | (0x89 << 40) | ((TASK >> 24) << 56)
        .quad 0                         /* 0x40: the task state segment */
segments_end:
descriptor_table:
        .word segments_end - segments - 1
        .quad segments

        .text
        .code32
        .globl start
start:
        movl    $level4, %eax
        movl    %eax, %cr3
        movl    %cr4, %eax
        orl     $0x20, %eax             /* PAE */
        movl    %eax, %cr4
        movl    $0xc0000080, %ecx       /* EFER: long mode, and SYSCALL, which some hosts take for a sign of a serious kernel */
        rdmsr
        orl     $0x101, %eax
        wrmsr
        movl    $0x174, %ecx            /* SYSENTER_CS */
        movl    $0x10, %eax
        xorl    %edx, %edx
        wrmsr
        lgdt    descriptor_table
        movl    %cr0, %eax
        orl     $0x80000001, %eax       /* paging */
        movl    %eax, %cr0
        ljmp    $0x10, $long_mode
        .code64
long_mode:
        movl    $0x18, %eax
        movl    %eax, %ss
        movl    $0x40, %eax
        ltr     %ax
        movl    $0x2b, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    $stack_end, %ecx
        movl    $ring3, %edx
        sysexitq
ring3:
        movl    $0x2b, %eax
        movl    %eax, %ss
        movl    %ebx, %edi
        call    payload
1:      jmp     1b

        .bss
        .balign 4096
        .fill 65536, 1, 0
stack_end:
