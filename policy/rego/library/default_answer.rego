# What a partner is answered whose agreement names no policy: nothing.
# To answer a partner, write a package of your own and name it in the agreement.
package parley.default.answer

decision := {
	"allow": false,
	"reasons": ["the agreement names no policy, and the default answers nothing"],
}
